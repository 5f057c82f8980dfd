-- Nothing more is sent to the cloud; a job that runs already is not stopped.
obj.spec.suspend = true
return obj
