return 'inner'
