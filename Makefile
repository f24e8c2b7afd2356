# A thin front: `make help` says what there is. Underneath are cargo, ./toolchain.sh and the two host tools.

MANIFEST ?= system.toml
OUT ?= build
DISK ?= $(OUT)/disk.img
KEEP ?=
# An IOMMU between devices and memory: `intel` (VT-d), or none.
IOMMU ?=
# Further options of `qemu run`, for example RUN="--memory 1G --cpus 4".
RUN ?=

IMAGE = $(OUT)/charter.img
CARGO ?= cargo
# Where rustup puts cargo, for shells that have not read its profile yet.
export PATH := $(PATH):$(HOME)/.cargo/bin
iommu = $(if $(filter-out none,$(IOMMU)),--iommu $(IOMMU))
keep = $(if $(filter-out 0 no,$(KEEP)),--keep)

.PHONY: help
help:
	@echo 'make run            build everything, boot it in QEMU, show the serial log; 0 once the system is up'
	@echo '                    KEEP=1 leaves it running; MANIFEST=system.toml OUT=build DISK=build/disk.img RUN="--cpus 4"'
	@echo '                    IOMMU=intel puts one between devices and memory'
	@echo 'make test           every test: host, lint, system'
	@echo 'make bench          what the kernel costs, in guest instructions, against budgets; PEER=linux: beside Linux'
	@echo 'make scale          what grows with depth, size and tasks, drawn as docs/scale.svg'
	@echo 'make profile        which functions a read'"'"'s instructions are spent in'
	@echo 'make soak           writes, crashes, errors, stalls and unplugging at random for MINUTES=10; SEED=… repeats'
	@echo 'make test-lanes     the tests of the NVMe and block path that make test runs on one lane only, on the others'
	@echo 'make soak-faults    FAULTS=10000 made on purpose in the driver under load, of CLASS=… or all; SEED=… repeats'
	@echo 'make fuzz           random system calls and commands from a hostile driver, COUNT=1000000 from SEED=1 on; decoders too'
	@echo 'make fuzz-decoders  decoders and the broker under a fuzzer that is guided by coverage, RUNS=20000 each from SEED=1 on'
	@echo 'make mutants        switch checks of broker and kernel off one by one; a test must notice each'
	@echo 'make reproduce      build a copy in another folder, on another day, and compare every byte'
	@echo 'make test-azure     upload to a storage emulator (npm, Azurite)'
	@echo 'make test-taplo     try the schema of charters with taplo (pip)'
	@echo 'make image          write the image only; MANIFEST=system.toml OUT=build'
	@echo 'make build          compile kernel, tasks and host tools'
	@echo 'make setup          install what is missing (Debian, root), or say what to install'
	@echo 'make check-format   is everything formatted?'
	@echo 'make clean          remove everything that was built'

.PHONY: run
run: image
	@$(CARGO) run -q -p qemu -- disk $(DISK)
	@$(CARGO) run -q -p qemu -- run --image $(IMAGE) --disk $(DISK) $(iommu) $(keep) $(RUN)

.PHONY: image
image: build
	@$(CARGO) run -q -p image-builder -- build $(MANIFEST) --out $(OUT)

.PHONY: build
build: setup
	@echo '== kernel and tasks' >&2
	@./toolchain.sh build
	@echo '== host tools' >&2
	@$(CARGO) build -p image-builder -p qemu

.PHONY: setup
setup:
	@./toolchain.sh setup

# What fails quickly comes first; the system tests come last.
.PHONY: test
test: setup
	@echo '== host tests' >&2
	@$(CARGO) test --workspace --exclude qemu
	@$(MAKE) --no-print-directory build
	@echo '== lint' >&2
	@$(CARGO) clippy --workspace --all-targets -- -D warnings
	@./toolchain.sh clippy
	@echo '== system tests' >&2
	@$(CARGO) test -p qemu --lib --bins --tests

# Counts guest instructions; the same on any machine.
.PHONY: bench
bench: build
	@$(CARGO) test -q -p qemu --test bench -- --nocapture
	@[ -z "$(PEER)" ] || taskset -c 0 $(CARGO) test -q -p qemu --test bench against_$(PEER) -- --ignored --nocapture

# Costs by depth, size and tasks, as a plot in docs/scale.svg.
.PHONY: scale
scale: build
	@$(CARGO) test -q -p qemu --test bench scale -- --ignored --nocapture

# Where a read's instructions go, by function.
.PHONY: profile
profile: build
	@$(CARGO) test -q -p qemu --test bench profile -- --ignored --nocapture

# Disks are written while something goes wrong, again and again; ends with the counts.
MINUTES ?= 10
.PHONY: soak
soak: build
	@MINUTES=$(MINUTES) $(CARGO) test -q -p qemu --test soak -- --ignored --nocapture

# Tests of the NVMe and block path that `make test` runs on one lane only, on the other lanes: some ten minutes.
.PHONY: test-lanes
test-lanes: build
	@$(CARGO) test -q -p qemu --tests -- --ignored on_every_lane

# A kernel for tests flips, drops, repeats and kills, on LANE=… or without an IOMMU; ends with the counts of each class.
FAULTS ?= 10000
CLASS ?=
LANE ?= brokered
.PHONY: soak-faults
soak-faults: build
	@FAULTS=$(FAULTS) CLASS=$(CLASS) LANE=$(LANE) $(CARGO) test -q -p qemu --test injection -- --ignored --nocapture ten_thousand

# A hostile driver at random, and every decoder with bytes at random; ends with counts and what each rule refused.
COUNT ?= 1000000
SEED ?= 1
CASES ?= 10000
.PHONY: fuzz
fuzz: build fuzz-decoders
	@PROPTEST_CASES=$(CASES) $(CARGO) test -q -p abi -p boot -p kernel -p protocol -p nvme-broker -p image-builder
	@COUNT=$(COUNT) SEED=$(SEED) $(CARGO) test -q -p qemu --test hostile -- --ignored --nocapture many_random

# The same decoders, the broker, charters and logs on the host, with inputs that are kept when they reach something new.
RUNS ?= 20000
.PHONY: fuzz-decoders
fuzz-decoders:
	@./toolchain.sh setup g++
	@RUNS=$(RUNS) SEED=$(SEED) qemu/fuzz/run

# Switches checks off one at a time, on the host and in whole systems; the named test of each must fail.
.PHONY: mutants
mutants: build
	@$(CARGO) test -q -p nvme-broker --test rules -- --ignored --nocapture every_mutant
	@$(CARGO) test -q -p qemu --test mutants -- --ignored --nocapture every_mutant

# The same source in another folder, on another day, gives the same bytes.
.PHONY: reproduce
reproduce:
	@./toolchain.sh setup faketime
	@.ci/reproduce

# The upload that deploy.sh does, to a page blob of Azure's storage emulator on this computer. Needs node and npm, and
# the network once, to install the emulator.
AZURITE = $(CURDIR)/target/azurite
.PHONY: test-azure
test-azure: setup
	@[ -x $(AZURITE)/node_modules/.bin/azurite-blob ] || npm install --silent --no-fund --no-audit --prefix $(AZURITE) azurite@3.37.0
	@AZURITE=$(AZURITE)/node_modules/.bin/azurite-blob $(CARGO) test -p image-builder --test upload -- --ignored

# The schema, with the checker that editors use; needs pip, and the network once, to install it.
TAPLO = $(CURDIR)/target/taplo
.PHONY: setup-taplo
setup-taplo:
	@[ -x $(TAPLO)/bin/taplo ] || python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target $(TAPLO) taplo==0.9.3

.PHONY: test-taplo
test-taplo: setup-taplo
	@TAPLO=$(TAPLO)/bin/taplo $(CARGO) test -p image-builder --test taplo -- --ignored

.PHONY: check-format
check-format:
	@$(CARGO) fmt --all --check

.PHONY: clean
clean:
	@rm -rf target $(OUT)
