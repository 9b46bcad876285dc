"""What must outlive the process: spooled objects, the journal of every study, the audit trail."""
