"""The trained models as folders that Hugging Face's transformers and TRL load.

Writing them needs neither. Nothing here knows where the pipeline's files lie.
"""
