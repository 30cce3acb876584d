"""`make up` and `make preview`: the Pulumi engine where there is one, else the in-process run."""
