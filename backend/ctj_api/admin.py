"""The admin: which models it has. Their pages stand in ``desk/``."""

from django.contrib import admin
from django.contrib.auth.models import Group

from .desk.deleted import DeletedOpportunityAdmin
from .desk.opportunities import OpportunityAdmin
from .desk.reference import CommunityOfPracticeAdmin, ProjectAdmin, RoleAdmin, SyncRunAdmin
from .desk.skills import SkillAdmin
from .desk.users import UserProfileAdmin
from .models import CommunityOfPractice, DeletedOpportunity, Opportunity, Project, Role, Skill, SyncRun, UserProfile

admin.site.unregister(Group)
admin.site.register(CommunityOfPractice, CommunityOfPracticeAdmin)
admin.site.register(Role, RoleAdmin)
admin.site.register(Project, ProjectAdmin)
admin.site.register(Skill, SkillAdmin)
admin.site.register(Opportunity, OpportunityAdmin)
admin.site.register(DeletedOpportunity, DeletedOpportunityAdmin)
admin.site.register(UserProfile, UserProfileAdmin)
admin.site.register(SyncRun, SyncRunAdmin)
