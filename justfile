# What there is to do; `just` alone lists it.
default:
    @just --list

# Everything that must pass before a change goes in
check:
    bash .ci/run

# All tests
test:
    cargo test

# Let every change to the disk fail, in runs, a sweep of two, exports, a comparison and every measuring command, and go on each time
faults:
    cargo test --test main -- --include-ignored --nocapture faults > target/faults.log 2>&1 || (tail -n 40 target/faults.log; exit 1)
    grep -o 'faults: .*' target/faults.log

# Change files of every kind at random, so many times a kind, and read them
fuzz MUTATIONS="10000" SEED=`date +%s`:
    MUTATIONS={{MUTATIONS}} MUTATION_SEED={{SEED}} cargo test --test main -- --nocapture mutations

# Let the program of the commit BASE and that of this tree do the same work, and compare what they write byte by byte
same BASE *ARGS:
    python3 tests/same/same.py {{BASE}} {{ARGS}}

# Check the types of the code and its tests for platforms that it is not tested on; needs rustup
platforms:
    rustup target add aarch64-unknown-linux-gnu aarch64-apple-darwin x86_64-pc-windows-msvc
    TARGET_CC=$PWD/tests/platforms/nothing.sh TARGET_AR=$PWD/tests/platforms/nothing.sh \
      cargo clippy --workspace --all-targets \
      --target aarch64-unknown-linux-gnu --target aarch64-apple-darwin --target x86_64-pc-windows-msvc -- -D warnings

# Train the quickstart preset and write its report
quickstart:
    cargo run -p trainer

# Run an experiment, a preset in experiments/ or a sweep in experiments/sweeps/, from nothing to its figures
reproduce NAME *ARGS:
    cargo run -p trainer -- sweep experiments/{{NAME}}.toml {{ARGS}}

# Tune the runs of the main experiment on new bases, with all or part of the model free, and compare
early-or-late: (reproduce "sweeps/main")
    for run in runs/main/main-*; do for free in all first=2 last=2 read_out; do \
      cargo run -p trainer -- finetune $run --free $free --out runs/early-or-late \
        --set 'task.bases={coordinates=[[0,2,4],[1,3,5]]}' --set train.steps=2000 --set train.batch_size=64 \
        --set 'train.schedule={kind="constant"}' --set train.learning_rate=5e-4 --set checkpoints.every=200; \
    done; done
    cargo run -p analysis -- compare runs/early-or-late

# Get SmolLM2 and the Brown corpus, and measure CD and accuracy of parts of speech: a few minutes on two cores
pretrained *ARGS:
    test -e weights/smollm2-135m/config.json || python experiments/pretrained/get_smollm2.py weights/smollm2-135m
    test -e corpus/brown || python experiments/pretrained/get_brown.py corpus/brown
    cargo run -p emergence -- lm measure part-of-speech --model weights/smollm2-135m \
      --set 'task.shots=[0,1,4]' --set eval.prompts_per_concept=30 --set probe.prompts_per_concept=30 {{ARGS}}

# Step times beside PyTorch's; needs torch and transformers
compare:
    python benches/pytorch/compare.py --rounds 2 --seconds 5

# Compare the memory that runs are expected to take with the most they take, over a grid of shapes
memory:
    cargo build -p emergence
    python benches/memory.py target/debug/emergence

# The same on a GPU; PyTorch also with CUDA graphs, and everything in f32 and TF32
compare-cuda:
    python benches/pytorch/compare.py --device cuda

# What a step on a GPU costs the host, timed with a driver that does nothing; needs no GPU
host *ARGS="--warm-up 50 --steps 500":
    mkdir -p target/host/include
    cc -O2 -shared -fPIC -o target/host/libcuda.so benches/host/nothing.c
    ln -sf libcuda.so target/host/libnvrtc.so
    for size in small medium paper; do \
      LD_LIBRARY_PATH=target/host CUDA_PATH=target/host \
        cargo run -p trainer --features cuda -- bench benches/sizes/$size.toml --device cuda {{ARGS}}; \
    done

# Everything that is timed on a GPU, ours alone: a step, 2,000 steps, and five models at once
time-cuda:
    for size in small medium paper; do for jobs in 1 5; do \
      cargo run -p trainer --features cuda -- bench benches/sizes/$size.toml --device cuda --warm-up 20 --steps 400 --jobs $jobs; \
    done; done
    cargo run -p trainer --features cuda -- bench benches/sizes/paper.toml --device cuda --warm-up 20 --steps 2000

# What a GPU is asked that one has for minutes, without cargo and just: the archive of programs for it is made here; benches/gpu.sh says how it goes on
gpu ARCHIVE:
    bash benches/gpu.sh pack {{ARCHIVE}}

# Hold a GPU to the CPU, with products in TF32 and in f64
test-cuda:
    cargo test --features cuda -- cuda gpu
    cargo test --features cuda-f64 -- cuda gpu

# The documentation of the crates, warnings as errors
doc:
    RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps

# Make the files of tests/golden anew; needs torch, numpy and safetensors
golden:
    python tests/golden/make.py

# Test python/emergence.py; needs Python 3.11 with pytest, numpy, pandas, polars, torch, transformers, tensorboard and 'transformer_lens<4'
test-python:
    cargo build -p emergence
    python -B -m pytest -p no:cacheprovider python

# A sweep through a real Slurm on this machine, stopped and restarted; needs root and Debian's slurmctld, slurmd, munge
test-slurm:
    bash tests/slurm/run.sh

# Make runs from nothing and use their pages of `explore` in a headless Chromium, with pointer and keyboard; what is shown is compared with the tables. Two minutes; needs node and Chromium
test-browser:
    cargo build -p emergence
    node tests/browser/explore.mjs target/debug/emergence

# How time and memory grow with the work, and decodability and UMAP beside scikit-learn and umap-learn; need numpy, scikit-learn, umap-learn
growth:
    cargo test --no-run
    python benches/growth.py target/debug
    python benches/beside.py target/debug/examples/states

# Take pictures of a page of `explore`: light, dark, narrow and printed; needs node and Chromium
pictures PAGE FOLDER:
    node tests/browser/screenshots.mjs {{PAGE}} {{FOLDER}}

# Serve a folder while a run in it trains, and look at its pages in a headless Chromium; needs node and Chromium
test-serve *PICTURES:
    cargo build -p emergence
    node tests/browser/serve.mjs target/debug/emergence {{PICTURES}}
