"""The ground: the grammar of image names, the output contract with its reader, and what each delivery means."""
