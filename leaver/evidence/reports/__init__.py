"""Reports: the leaver one-pager and the period report, as HTML, PDF, XLSX and CSV.

Everything here is a function of what it is given. There is no clock inside, so that the same checkpoint gives
the same bytes.
"""
