//! Hears of releases: a folder, a webhook, SNS over https, SQS.
