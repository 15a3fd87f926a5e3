"""A small invented business, Quillmarsh Trading, to try Isthmus on: a database and files that agree with each other."""
