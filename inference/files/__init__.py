"""Files of models as strangers may have made them: what is refused before anything reads them."""
