"""What the node and this machine reach: ``python -m benchmarks`` lists it; each prints one JSON object per line.

``limits`` measures the machine itself; figures of the others mean something as ratios to it, taken in the same run.
"""
