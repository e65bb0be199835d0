# make demo, make test: the two commands. Everything else builds on the same .venv.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: bench-accuracy demo test check slow bench bench-networks bench-tutorial bench-explain bench-check bench-decisions bench-serve bench-size bench-scaling bench-growth bench-speed bench-devices bench-predict bench-minute bench-unlabelled pictures screenshots clean

.venv/demo.done: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt -e '.[demo]'
	touch $@

.venv/dev.done: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

demo: .venv/demo.done
	$(BIN)/fenlei demo

test: .venv/dev.done
	$(BIN)/python -m pytest -n 2 -m 'not slow'

check: .venv/dev.done
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The peers beside us, in one run: make bench DATA=folder SETS=trec,sst2
DATA ?= ../shared/data
SETS ?= trec,sst2,zh_topics,clinc150

.venv/bench.done: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt -e '.[bench]'
	touch $@

# Whether the words that explain names are the words that matter.
bench-explain: .venv/dev.done
	$(BIN)/python benchmarks/deletion.py --data $(DATA)

# Whether check --deep finds flipped labels.
bench-check: .venv/dev.done
	$(BIN)/python benchmarks/flipped.py --data $(DATA)

# Time and memory of reading, counting and encoding at 10,000, 100,000 and 1,000,000 documents.
bench-growth: .venv/dev.done
	$(BIN)/python benchmarks/growth.py --data $(DATA)

bench: .venv/bench.done
	$(BIN)/python benchmarks/accuracy.py --data $(DATA) --sets $(SETS)
	$(BIN)/python benchmarks/deletion.py --data $(DATA)

# Presets beside the peers on every set, and the default with one thing changed at a time. Hours; goes on where it was.
bench-accuracy: .venv/bench.done
	$(BIN)/python benchmarks/accuracy.py --data $(DATA) --presets default,best
	$(BIN)/python benchmarks/accuracy.py --data $(DATA) --sets trec,sst2,chnsenticorp_unique,thucnews_titles@20000 --ablation

# Calibration, unknown, several labels, on every set.
bench-decisions: .venv/dev.done
	$(BIN)/python benchmarks/decisions.py --data $(DATA)

# Every network alone, embeddings compressed, the tutorial's faults, the pictures of docs/networks.md. Hours, but for the last.
bench-networks: .venv/dev.done
	$(BIN)/python benchmarks/networks.py --data $(DATA)
	$(BIN)/python benchmarks/networks.py --data $(DATA) --compression
	$(BIN)/python benchmarks/networks.py --data $(DATA) --speed

bench-tutorial: .venv/dev.done
	$(BIN)/python benchmarks/tutorial.py --data $(DATA)

# The server under load and attack, about ten minutes. SECONDS of the load, of which everything else has its share.
SECONDS ?= 120

bench-serve: .venv/dev.done
	$(BIN)/python benchmarks/serving.py --data $(DATA) --seconds $(SECONDS)

# One process against two, and what a checkpoint costs. Wall-clock ratios need an idle machine.
bench-scaling: .venv/dev.done
	$(BIN)/python benchmarks/scaling.py --data $(DATA)

# Texts a second beside fastText, one text, loading, the first answer; quickest on an idle machine.
bench-predict: .venv/bench.done
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/predicting.py --data $(DATA)

# What texts without labels give.
bench-unlabelled: .venv/dev.done
	$(BIN)/python benchmarks/unlabelled.py --data $(DATA)

# How small a bundle can be made, and what that costs.
bench-size: .venv/dev.done
	$(BIN)/python benchmarks/sizes.py --data $(DATA)

# Titles a second in training: ours, the loop people write, fastText, and the machine's limit.
bench-speed: .venv/bench.done
	$(BIN)/python benchmarks/speed.py --data $(DATA)

# Titles a second on the processor and, where there is one, on a GPU; whole trainings there too.
bench-devices: .venv/dev.done
	$(BIN)/python benchmarks/devices.py --data $(DATA)

# From a raw file to a bundle in about a minute, beside fastText and liblinear; by the clock, so on an idle machine.
bench-minute: .venv/bench.done
	$(BIN)/python benchmarks/minute.py --data $(DATA)

pictures: .venv/dev.done
	$(BIN)/python benchmarks/pictures.py

# The pictures of the page: two models trained and served, chromium looks.
screenshots: .venv/dev.done
	$(BIN)/python benchmarks/screenshots.py --data $(DATA)

slow: .venv/dev.done
	$(BIN)/python -m pytest -m slow

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
