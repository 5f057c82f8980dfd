-- The operator sends no more requests. A running batch job is not cancelled.
obj.spec.suspend = true
return obj
