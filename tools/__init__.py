"""The command line tools: `stepwell`, `stepwell-opt` and the benchmarks."""
