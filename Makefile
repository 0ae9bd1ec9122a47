# The README's two commands are `make demo` and `make test`.
# As root on Debian both install what is missing (after printing the list), and peer tests must run.
# Elsewhere they install nothing, say in one line what is missing, and the tests that need it are skipped.

CARGO ?= cargo
SECTAG = target/release/sectag

# Targets whose bytes come from strangers over UDP; a bounded, seeded run of each is part of the tests where tools are installed for us.
FUZZ = coap_server coap_client dtls_datagrams dtls_saved

.PHONY: demo test build bench soak advisories fuzz-check fuzz-bounded openapi link-order packages

demo: packages build
	@$(SECTAG) demo $(DEMO)

# Without clang, libclang, cmake and ninja everything but CoAP is built; tools/slim knows, and says so.
build:
	@tools/slim say
	$(CARGO) build --locked --release -p sectag-cli $$(tools/slim)

packages:
	@tools/packages

test: packages
	@tools/slim say
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace $$(tools/slim workspace) --all-targets -- -D warnings
	$(CARGO) clippy --locked -p sectag-cli --no-default-features -- -D warnings
	tools/embedded
	SECTAG_PEERS="$$(tools/packages --mode)" $(CARGO) test --locked --workspace $$(tools/slim workspace)
	@if [ "$$(tools/packages --mode)" = require ] && [ -z "$$(tools/slim)" ]; then $(MAKE) --no-print-directory fuzz-bounded; \
	else echo "fuzz targets are not run here; make fuzz-bounded does"; fi

fuzz-bounded:
	$(CARGO) build --locked --manifest-path fuzz/Cargo.toml $(FUZZ:%=--bin %)
	@for target in $(FUZZ); do \
		echo "fuzz $$target: 50000 runs"; \
		log=$$(fuzz/target/debug/$$target -runs=50000 -seed=1 -len_control=0 -max_len=1200 2>&1) || { echo "$$log" >&2; exit 1; }; \
	done

# What `spec/owner.openapi.json` must be, from the routes; a test compares the two.
openapi:
	$(CARGO) run --locked -q -p sectag-cli -- openapi > spec/owner.openapi.json.new
	mv spec/owner.openapi.json.new spec/owner.openapi.json

# Which functions `sectag config` runs, after much has changed (tools/link-order --check says when); needs valgrind.
link-order: build
	tools/link-order

# Speed: figures for docs/performance.md. Not part of the tests; these numbers want a quiet machine.
bench:
	$(CARGO) bench --locked -p sectag-store --bench queue_writes
	$(CARGO) bench --locked -p sectag-store --bench evidence
	$(CARGO) bench --locked -p sectag-cli --bench sessions
	$(CARGO) bench --locked -p sectag-sim --bench herd
	$(CARGO) bench --locked -p sectag-sim --bench month
	$(CARGO) bench --locked -p sectag-server --bench coap_load
	$(CARGO) bench --locked -p sectag-server --bench claims
	$(CARGO) bench --locked -p sectag-server --bench fleet
	$(CARGO) bench --locked -p sectag-cli --bench config_speed

# Long runs: more cases for every property test, more towns, and the C library's callers under valgrind.
soak:
	@tools/packages --soak
	SECTAG_PEERS="$$(tools/packages --mode)" $(CARGO) test --locked -p sectag-dtls --test memcheck -- --ignored
	SECTAG_PEERS="$$(tools/packages --mode)" SECTAG_JUDGE_S=900 $(CARGO) test --locked -p sectag-cli --test schemathesis
	$(CARGO) test --locked --release -p sectag-cli --test bulk_claim -- --ignored --nocapture
	PROPTEST_CASES=20000 $(CARGO) test --locked --release --workspace $$(tools/slim workspace)

# Needs the network (the advisory database) and cargo-deny (`cargo install --locked cargo-deny`).
advisories:
	$(CARGO) deny --locked check advisories

# All fuzz targets compile; run one with `cargo fuzz run --sanitizer none <target>`.
fuzz-check:
	$(CARGO) check --manifest-path fuzz/Cargo.toml
