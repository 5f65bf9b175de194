"""The API of the ScalingPolicy kind: its models, the CRD made from them, and the way from a document to a Policy."""
