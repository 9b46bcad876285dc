"""Everything that must outlive the process: the files of received objects, the journal of studies, the audit trail."""
