"""IAM: tokens and logins."""
