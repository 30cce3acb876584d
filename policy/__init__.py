"""The project's policy: rules on what a stack may declare, for Pulumi's policy engine and for `offline --policy`."""
