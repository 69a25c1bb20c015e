"""Who may do what: the policies of the templates, and the recorded calls as IAM would judge them. Pure."""
