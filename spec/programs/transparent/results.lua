return 1, nil, 'three', nil
