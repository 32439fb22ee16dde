"""Pages."""

import time

from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from .forms import JobForm, NoteForm, SlowForm
from .jobs import enqueue
from .models import Heartbeat, Job, Note

SHOWN = 8


class SeeOther(HttpResponseRedirect):
    """The answer to a POST that did its work."""

    status_code = 303


def seconds_of(form: Form) -> float:
    """Return the seconds a valid form asks for, or those it proposes."""
    value = form.cleaned_data["seconds"]
    return float(form.fields["seconds"].initial if value is None else value)


@never_cache
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """Show the last notes, jobs and heartbeat."""
    return render(
        request,
        "notes/home.html",
        {
            "notes": Note.objects.order_by("-pk")[:SHOWN],
            "jobs": Job.objects.order_by("-pk")[:SHOWN],
            "heartbeat": Heartbeat.objects.order_by("-pk").first(),
        },
    )


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def notes(request: HttpRequest) -> HttpResponse:
    """Show the form, or write the note and send the browser to read it back."""
    form = NoteForm(request.POST or None)
    if form.is_valid():
        note = form.save()
        return SeeOther(f"{reverse('notes')}?added={note.pk}")
    added = request.GET.get("added", "")
    context = {
        "form": form,
        "added": get_object_or_404(Note, pk=added) if added.isdecimal() else None,
        "notes": Note.objects.order_by("-pk")[:SHOWN],
    }
    return render(request, "notes/notes.html", context, status=400 if request.method == "POST" else 200)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def jobs(request: HttpRequest) -> HttpResponse:
    """Show the last jobs, or enqueue one."""
    form = JobForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        new = Job.objects.create(seconds=seconds_of(form))
        enqueue(new)
        return SeeOther(reverse("job", args=[new.pk]))
    context = {"form": form, "jobs": Job.objects.order_by("-pk")[:SHOWN]}
    return render(request, "notes/jobs.html", context, status=400 if request.method == "POST" else 200)


@never_cache
@require_safe
def job(request: HttpRequest, job_id: int) -> HttpResponse:
    """Show one job, as a page or (`?format=json`) as JSON."""
    found = get_object_or_404(Job, pk=job_id)
    if request.GET.get("format") == "json":
        return JsonResponse(
            {
                "id": found.pk,
                "state": found.state,
                "runs": found.runs,
                "seconds": found.seconds,
                "release": found.release,
                "started": found.started,
                "finished": found.finished,
            }
        )
    return render(request, "notes/job.html", {"job": found})


@never_cache
@require_safe
def slow(request: HttpRequest) -> HttpResponse:
    """Answer after as many seconds as asked for."""
    form = SlowForm(request.GET)
    if not form.is_valid():
        return HttpResponseBadRequest(f"seconds: {form.errors['seconds'].as_text()}\n", content_type="text/plain")
    seconds = seconds_of(form)
    time.sleep(seconds)
    return render(request, "notes/slow.html", {"seconds": seconds})
