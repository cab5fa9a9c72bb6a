# What there is to do; `just` alone lists it.
default:
    @just --list

# Everything that must pass before a change goes in
check:
    bash .ci/run

# All tests
test:
    cargo test

# Train the quickstart preset and write its report
quickstart:
    cargo run -p trainer

# Step times beside PyTorch's; needs torch and transformers
compare:
    python benches/pytorch/compare.py --rounds 2 --seconds 5

# The documentation of the crates, warnings as errors
doc:
    RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps

# Make tests/golden/golden.safetensors anew; needs torch, numpy and safetensors
golden:
    python tests/golden/make.py
