"""Planning a training: the memory, time and cost that it will take, on a device that need not be there."""
