"""What a build-up of a given image will take: counted from its metadata, priced by calibration."""
