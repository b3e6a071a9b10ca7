"""One module a version; it carries out the files of its folder in `sql/`, in the order of their names."""
