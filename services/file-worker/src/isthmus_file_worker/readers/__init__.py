"""What runs in a process of its own: readers of documents, tables, archives and images that nobody here wrote."""
