"""The cloud: IAM and IMS, as facts and errors. Nothing here knows Kubernetes."""
