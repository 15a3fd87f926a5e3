"""The admin REST API, below `/api/admin`: JSON over the functions that make, change and delete what there is."""

from litestar import Router

from isthmus_auth import admin_clients, admin_keys, admin_people

API = "/api/admin"

ROUTES = Router(
    API,
    include_in_schema=True,
    route_handlers=[
        admin_people.me,
        admin_people.list_people,
        admin_people.create_person,
        admin_people.get_person,
        admin_people.change_person,
        admin_people.delete_person,
        admin_people.delete_factors,
        admin_people.list_consents,
        admin_people.delete_consent,
        admin_people.list_roles,
        admin_people.get_role,
        admin_people.put_role,
        admin_people.delete_role,
        admin_clients.list_services,
        admin_clients.create_service,
        admin_clients.get_service,
        admin_clients.change_service,
        admin_clients.rotate_secret,
        admin_clients.delete_service,
        admin_clients.list_clients,
        admin_clients.create_client,
        admin_clients.get_client,
        admin_clients.change_client,
        admin_clients.delete_client,
        admin_clients.rotate_client_secret,
        admin_clients.list_providers,
        admin_clients.get_provider,
        admin_clients.put_provider,
        admin_clients.delete_provider,
        admin_people.view_as_account,
        admin_people.explain,
        admin_keys.list_api_keys,
        admin_keys.create_api_key,
        admin_keys.delete_api_key,
        admin_keys.list_keys,
        admin_keys.add_key,
        admin_keys.delete_key,
    ],
)
