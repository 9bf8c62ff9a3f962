"""The score of a device: the suite's rows, each run in a worker process, and what became of them, op by op."""
