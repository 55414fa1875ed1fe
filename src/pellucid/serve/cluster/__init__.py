"""Past one machine: a stored version on a Ray cluster, by Ray Serve.

    pellucid serve NAME --cluster ray        driver.py: deploys, tells incidents, follows the alias
        Ray Serve: proxies, queues, replicas
            replica.py, one a replica        the same application, predictor and pulse as in a worker here
            warden.py, one beside each       looks at its replica from outside, keeps the incident there, ends it past the deadline

Only the driver imports Ray. The nodes need pellucid[serve] and Ray; the model travels with the deployment.
"""
