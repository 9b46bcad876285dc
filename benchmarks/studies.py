"""The studies that the benchmarks send: a drawn thorax as big as a real exposure."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, JPEGLSLossless, generate_uid

from dicom_io.phantom.studies import draw_thorax

ROWS, COLUMNS = 2500, 2048


def make_studies(directory: Path, number: int, compressed: bool) -> list[Path]:
    """`number` files, each a study of its own; every fourth one JPEG-LS where `compressed`."""
    directory.mkdir(parents=True)
    pixels = draw_thorax(1, "effusion", ROWS, COLUMNS).astype(np.uint16)
    files = []
    for n in range(number):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.SOPClassUID, ds.SOPInstanceUID = DigitalXRayImageStorageForPresentation, generate_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
        ds.PatientName, ds.PatientID, ds.AccessionNumber = "Bench^Mark", f"BENCH{n}", f"B{n}"
        ds.PatientBirthDate, ds.PatientSex, ds.StudyID = "19600101", "F", "1"
        ds.StudyDate, ds.StudyTime = "20260101", "101010"
        ds.Modality, ds.BodyPartExamined, ds.ViewPosition = "DX", "CHEST", "PA"
        ds.Rows, ds.Columns, ds.SamplesPerPixel = ROWS, COLUMNS, 1
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 14, 13, 0
        ds.PhotometricInterpretation, ds.PresentationLUTShape = "MONOCHROME2", "IDENTITY"
        ds.WindowCenter, ds.WindowWidth = float(pixels.mean()), float(pixels.std() * 4)
        ds.PixelData = pixels.tobytes()
        if compressed and n % 4 == 0:
            ds.compress(JPEGLSLossless, generate_instance_uid=False)
        files.append(directory / f"{n:05}.dcm")
        ds.save_as(files[-1], enforce_file_format=True)
    return files
