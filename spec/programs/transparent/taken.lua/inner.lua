return 'in a folder that is called as a file'
