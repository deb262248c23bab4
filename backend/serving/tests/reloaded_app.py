from serving.tests.server_app import application
