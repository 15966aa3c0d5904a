"""What toy programs (`train.toys.programs`) say of open problems, one file each, and published results beside ours."""
