#!/bin/sh
# A compiler and archiver that makes nothing, for checking types on a platform whose own is not here: nothing is linked.
# It only leaves the empty library that a build for Windows asks for by -out:FILE.
for word; do
  case $word in -out:*) : >"${word#-out:}" ;; esac
done
