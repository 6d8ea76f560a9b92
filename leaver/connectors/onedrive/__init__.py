"""OneDrive over SharePoint REST, with Microsoft Graph as the fallback."""
