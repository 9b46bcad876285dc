"""The page: a picture of the result over one radiograph, for viewers that show nothing but images.

    content.py      what one page is about, and how an analysis becomes pages: one for each image that was analysed
    sentences.py    every sentence of a page
    sheet.py        the whole picture: band, radiograph, column, footer
    radiograph.py   the radiograph with its side mark and the contour of a finding
    column.py       the text beside it, cut to what there is room for
    typesetting.py  the font, and lines that fit
    encoding.py     the pixels as JPEG, or without loss

It is drawn for a dark reading room, and to be read without colours and at less than half its size. No name, number or
birth date of the patient is in it.
"""
