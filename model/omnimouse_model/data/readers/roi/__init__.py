"""Readers of programs that find regions in imaging: CaImAn, CNMF-E, EXTRACT, Minian, Inscopix."""
