"""What every folder may use and what knows none: files, tables, random numbers, processes."""
