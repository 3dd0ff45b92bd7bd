"""What is measured: each subject runs, executes in and removes containers in its own way."""
