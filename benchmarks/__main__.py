"""``python -m benchmarks``: what there is, and what each measures."""

import benchmarks
import tools

if __name__ == "__main__":
    tools.show(benchmarks)
