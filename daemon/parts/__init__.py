"""The parts of `hilum serve`, each a process: what starts them, receives, analyses, delivers, keeps house."""
