"""The admin REST API, below `/api/admin`: JSON over the functions that make, change and delete what there is.

The console calls the same functions.
"""

from litestar import Router, delete, get, patch, post, put
from litestar.di import Provide

from isthmus_auth import admin_audit, admin_catalog, admin_clients, admin_keys, admin_people
from isthmus_auth.administration import of_program

API = "/api/admin"

ROUTES = Router(
    API,
    include_in_schema=True,
    dependencies={
        "asking": Provide(of_program, sync_to_thread=False),
        "wanted": Provide(admin_audit.wanted_of, sync_to_thread=False),
    },
    route_handlers=[
        get("/me")(admin_people.me),
        get("/people")(admin_people.list_people),
        post("/people")(admin_people.create_person),
        get("/people/{person_id:str}")(admin_people.get_person),
        patch("/people/{person_id:str}")(admin_people.change_person),
        delete("/people/{person_id:str}")(admin_people.delete_person),
        delete("/people/{person_id:str}/factors", status_code=200)(admin_people.delete_factors),
        get("/consents")(admin_people.list_consents),
        delete("/consents/{sid:str}")(admin_people.delete_consent),
        get("/sessions")(admin_people.list_sessions),
        delete("/sessions/{session_id:str}")(admin_people.delete_session),
        get("/roles")(admin_people.list_roles),
        get("/roles/{role_id:str}")(admin_people.get_role),
        put("/roles/{role_id:str}")(admin_people.put_role),
        delete("/roles/{role_id:str}")(admin_people.delete_role),
        get("/services")(admin_clients.list_services),
        post("/services")(admin_clients.create_service),
        get("/services/{namespace:str}")(admin_clients.get_service),
        patch("/services/{namespace:str}")(admin_clients.change_service),
        post("/services/{namespace:str}/secret")(admin_clients.rotate_secret),
        delete("/services/{namespace:str}")(admin_clients.delete_service),
        get("/clients")(admin_clients.list_clients),
        post("/clients")(admin_clients.create_client),
        get("/clients/{client_id:path}")(admin_clients.get_client),
        patch("/clients/{client_id:path}")(admin_clients.change_client),
        delete("/clients/{client_id:path}")(admin_clients.delete_client),
        post("/client-secrets/{client_id:str}")(admin_clients.rotate_client_secret),
        get("/providers")(admin_clients.list_providers),
        get("/providers/{name:str}")(admin_clients.get_provider),
        put("/providers/{name:str}")(admin_clients.put_provider),
        delete("/providers/{name:str}")(admin_clients.delete_provider),
        get("/view")(admin_people.view_as_account),
        get("/explain")(admin_people.explain),
        get("/audit")(admin_audit.list_events),
        get("/audit/export")(admin_audit.export_events),
        get("/catalog")(admin_catalog.get_catalog),
        get("/catalog/{source_id:str}")(admin_catalog.get_source),
        get("/keys")(admin_keys.list_api_keys),
        post("/keys")(admin_keys.create_api_key),
        delete("/keys/{key_id:str}")(admin_keys.delete_api_key),
        get("/signing-keys")(admin_keys.list_keys),
        post("/signing-keys")(admin_keys.add_key),
        delete("/signing-keys/{kid:str}")(admin_keys.delete_key),
    ],
)
