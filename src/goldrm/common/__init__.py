"""What every folder may use and what knows none of them: files, tables, random numbers, processes."""
