"""Reading images: from a DICOM file to its header, the decision whether to analyse it, and its displayed pixels."""
