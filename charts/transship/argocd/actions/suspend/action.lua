-- Scans and copies nothing from now on; a run that has started is finished.
obj.spec.suspend = true
return obj
