"""The command `goldrm`: what is done beside the pipeline's stages."""
