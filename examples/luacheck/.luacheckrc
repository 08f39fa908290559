std = 'max'
