"""Claims of the paper and of its authors' wider experiments, each with a measure and a verdict."""
